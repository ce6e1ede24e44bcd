"""What a person gets to read and sign: tables, pictures, PDF and its signature, DICOM SEG and SR."""
